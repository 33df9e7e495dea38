"""A tiny random SDXL, made in code: what tests and benchmarks load where real weights cannot be.

It has SDXL's shape (two text encoders of different widths, `text_time` embedding, one DownBlock and
two CrossAttn blocks, an 8 x VAE), only narrower: 3.1 M parameters, pictures of 64 px in 0.1 s.
"""

import inspect
import pickle
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    ControlNetUnionModel,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bench.tiny_layout import single_file_state, vae_state

WIDTH, WIDTH_2 = 32, 64
"""Of the text encoders; they must differ, since from_single_file tells the two apart by width."""
SHARED_VAE_SEED = 1234


def components(seed):
    """The seven parts of a StableDiffusionXLPipeline; `seed` plays the part of the checkpoint."""
    torch.manual_seed(seed)
    tokenizer, tokenizer_2 = make_tokenizer("<|endoftext|>"), make_tokenizer("!")
    return {
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer_2,
        "text_encoder": CLIPTextModel(text_config(WIDTH, tokenizer, act="quick_gelu")).eval(),
        "text_encoder_2": CLIPTextModelWithProjection(
            text_config(WIDTH_2, tokenizer_2, act="gelu")
        ).eval(),
        "unet": make_unet(),
        "vae": make_vae(seed),
        "scheduler": EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            timestep_spacing="leading", steps_offset=1,
        ),
    }  # fmt: skip


def make_pipeline(seed):
    """A whole pipeline in memory that draws quietly."""
    pipe = StableDiffusionXLPipeline(**components(seed), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_checkpoint(folder, *, seed, name="", vae=True):
    """Write a single-file checkpoint in the original key layout; returns its path.

    Args:
        folder: Where; it is made.
        seed: Another seed is another checkpoint, and draws other pictures.
        name: File name without its ending; `tiny-SEED` by default.
        vae: False leaves the baked-in VAE out.
    """
    parts = components(seed)
    if not vae:
        del parts["vae"]
    return written(single_file_state(parts), folder, name or f"tiny-{seed}")


def save_config(folder):
    """Write what `from_single_file(config=...)` needs beside a tiny checkpoint; returns the folder."""
    folder = Path(folder)
    parts = components(0)
    pipe = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    folder.mkdir(parents=True, exist_ok=True)
    pipe.save_config(folder)
    for name, part in parts.items():
        if name == "scheduler" or name.startswith("tokenizer"):
            part.save_pretrained(folder / name)
        elif name.startswith("text_encoder"):
            part.config.save_pretrained(folder / name)
        else:
            part.save_config(folder / name)
    return folder


def save_vae(folder, *, seed=SHARED_VAE_SEED, single_file=False):
    """Write a VAE of its own: a diffusers folder, or `vae.safetensors` inside; returns its path."""
    vae = make_vae(seed)
    if single_file:
        state = {key: value.detach().clone().contiguous() for key, value in vae_state(vae)}
        return written(state, folder, "vae")
    vae.save_pretrained(folder)
    return Path(folder)


def save_controlnet(folder, *, union=False):
    """Write a ControlNet (or a union of six kinds) for the tiny UNet; returns its folder."""
    torch.manual_seed(5)
    net = ControlNetModel.from_unet(make_unet(), conditioning_embedding_out_channels=(8, 8, 16, 16))
    if union:
        known = inspect.signature(ControlNetUnionModel.__init__).parameters
        shared = {key: value for key, value in net.config.items() if key in known}
        net = ControlNetUnionModel(**shared, num_trans_channel=32, num_proj_channel=32)
    born_zero = [
        *net.controlnet_down_blocks, net.controlnet_mid_block,
        net.controlnet_cond_embedding.conv_out, *([net.spatial_ch_projs] if union else []),
    ]  # fmt: skip
    with torch.no_grad():  # else a control image would change nothing
        for module in born_zero:
            module.weight.normal_(0, 0.05)
    net.eval().save_pretrained(folder)
    return Path(folder)


def save_lora(folder, *, name):
    """Write a LoRA for the tiny UNet's attention as NAME.safetensors; another name, other weights."""
    torch.manual_seed(int.from_bytes(name.encode()[-6:], "big"))
    unet = make_unet()
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=targets, init_lora_weights=False))
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    StableDiffusionXLPipeline.save_lora_weights(
        folder, unet_lora_layers=state, weight_name=f"{name}.safetensors"
    )
    return Path(folder) / f"{name}.safetensors"


def save_wrong_architecture(folder, *, name="sd15"):
    """Write a file with the keys that tell Stable Diffusion 1.5: one text encoder, 768 wide."""
    sizes = {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
        "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    }
    return written({key: torch.zeros(size) for key, size in sizes.items()}, folder, name)


def save_truncated(folder, *, name="truncated"):
    """Write a checkpoint whose second half never came."""
    path = save_checkpoint(folder, seed=0, name=name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


class Poison:
    """Creates a file when it is unpickled."""

    def __init__(self, witness):
        self.witness = str(witness)

    def __reduce__(self):
        return (open, (self.witness, "w"))


def save_pickle(folder, *, name="poisoned"):
    """Write a pickle under the name of a safetensors file; who unpickles it makes `NAME.ran`."""
    path = Path(folder) / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"state_dict": Poison(path.with_suffix(".ran"))}))
    return path


def written(state, folder, name):
    """Save tensors as NAME.safetensors; returns its path."""
    path = Path(folder) / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def make_tokenizer(pad_token):
    """A whole byte-level CLIP tokenizer: 512 bytes inside and at ends of words, 2 merges, 2 specials."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    letters = {byte: chr(byte) for byte in kept} | {b: chr(256 + i) for i, b in enumerate(rest)}
    alphabet = [letters[byte] for byte in (*kept, *rest)]
    merges = [("t", "h"), ("th", "e</w>")]
    words = [*alphabet, *(c + "</w>" for c in alphabet), *("".join(m) for m in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad_token, model_max_length=77)


def text_config(width, tokenizer, *, act):
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width * 2,
        num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=77,
        projection_dim=width, hidden_act=act, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def make_unet():
    """Drawn from torch's present random state."""
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 1, 2], attention_head_dim=[2, 4, 4],
        use_linear_projection=True, cross_attention_dim=WIDTH + WIDTH_2,
        addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * 6 + WIDTH_2, norm_num_groups=16,
    ).eval()  # fmt: skip


def make_vae(seed):
    torch.manual_seed(seed)
    return AutoencoderKL(
        sample_size=64, block_out_channels=(16, 16, 32, 32), norm_num_groups=16, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, scaling_factor=0.13025, force_upcast=False,
    ).eval()  # fmt: skip
