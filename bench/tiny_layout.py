"""The key layout in which SDXL checkpoints are shared, written from diffusers' own.

`from_single_file` maps the other way; a tiny model in this layout lets tests walk that road whole.
"""

import torch

UNET, VAE = "model.diffusion_model.", "first_stage_model."
FIRST_ENCODER, SECOND_ENCODER = (
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.1.model.",
)

_RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.", "time_emb_proj.": "emb_layers.1.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
_AROUND = {
    "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.", "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.", "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.", "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
}  # fmt: skip
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def single_file_state(parts):
    """All tensors of a checkpoint by their original names; the VAE's too if there is one."""
    state = dict(unet_state(parts["unet"]))
    state |= {VAE + key: value for key, value in vae_state(parts.get("vae"))}
    state |= first_encoder_state(parts["text_encoder"])
    state |= second_encoder_state(parts["text_encoder_2"])
    return {key: value.detach().clone().contiguous() for key, value in state.items()}


def unet_state(unet):
    prefixes = unet_prefixes(unet.config.up_block_types, unet.config.layers_per_block)
    for key, value in unet.state_dict().items():
        new = next(o + key[len(d) :] for d, o in prefixes.items() if key.startswith(d))
        if ".resnets." in key:
            for name, original in _RESNET.items():
                new = new.replace("." + name, "." + original)
        yield UNET + new, value


def unet_prefixes(up_block_types, layers):
    """Diffusers' block names to the running numbers of the original's input and output blocks."""
    prefixes = dict(_AROUND)
    for block, kind in enumerate(up_block_types):
        first = block * (layers + 1)
        for layer in range(layers):
            into = f"input_blocks.{first + 1 + layer}."
            prefixes[f"down_blocks.{block}.resnets.{layer}."] = into + "0."
            prefixes[f"down_blocks.{block}.attentions.{layer}."] = into + "1."
        prefixes[f"down_blocks.{block}.downsamplers.0.conv."] = (
            f"input_blocks.{first + layers + 1}.0.op."
        )
        for layer in range(layers + 1):
            out = f"output_blocks.{first + layer}."
            prefixes[f"up_blocks.{block}.resnets.{layer}."] = out + "0."
            prefixes[f"up_blocks.{block}.attentions.{layer}."] = out + "1."
        place = 2 if "CrossAttn" in kind else 1
        prefixes[f"up_blocks.{block}.upsamplers.0.conv."] = (
            f"output_blocks.{first + layers}.{place}.conv."
        )
    return prefixes


def vae_state(vae):
    """Keys without a prefix, as separate VAE files have them."""
    if vae is None:
        return
    blocks = len(vae.config.block_out_channels)
    for key, value in vae.state_dict().items():
        new = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        for i in range(blocks):
            down, up = f"encoder.down.{i}.", f"decoder.up.{blocks - 1 - i}."
            new = new.replace(f"encoder.down_blocks.{i}.resnets.", down + "block.")
            new = new.replace(f"encoder.down_blocks.{i}.downsamplers.0.", down + "downsample.")
            new = new.replace(f"decoder.up_blocks.{i}.resnets.", up + "block.")
            new = new.replace(f"decoder.up_blocks.{i}.upsamplers.0.", up + "upsample.")
        new = new.replace("mid_block.resnets.0.", "mid.block_1.").replace(
            "mid_block.resnets.1.", "mid.block_2."
        )
        if "mid_block.attentions.0." in new:
            new = new.replace("mid_block.attentions.0.", "mid.attn_1.")
            for name, original in _VAE_ATTENTION.items():
                new = new.replace(name, original)
            value = (
                value[:, :, None, None] if value.ndim == 2 else value
            )  # a linear was a convolution
        yield new, value


def first_encoder_state(encoder):
    return {
        FIRST_ENCODER + "text_model." + key.removeprefix("text_model."): value
        for key, value in encoder.state_dict().items()
    }


def second_encoder_state(encoder):
    """OpenCLIP's names: query, key and value are one matrix, the projection lies on its side."""
    own = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    out = {
        "positional_embedding": own["embeddings.position_embedding.weight"],
        "token_embedding.weight": own["embeddings.token_embedding.weight"],
        "text_projection": own["text_projection.weight"].T,
        "logit_scale": torch.tensor(4.6),
    }
    for part in ("weight", "bias"):
        out[f"ln_final.{part}"] = own[f"final_layer_norm.{part}"]
        for i in range(encoder.config.num_hidden_layers):
            a, b = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
            out[f"{b}attn.in_proj_{part}"] = torch.cat(
                [own[f"{a}self_attn.{x}_proj.{part}"] for x in "qkv"]
            )
            out[f"{b}attn.out_proj.{part}"] = own[f"{a}self_attn.out_proj.{part}"]
            out[f"{b}ln_1.{part}"] = own[f"{a}layer_norm1.{part}"]
            out[f"{b}ln_2.{part}"] = own[f"{a}layer_norm2.{part}"]
            out[f"{b}mlp.c_fc.{part}"] = own[f"{a}mlp.fc1.{part}"]
            out[f"{b}mlp.c_proj.{part}"] = own[f"{a}mlp.fc2.{part}"]
    return {SECOND_ENCODER + key: value for key, value in out.items()}
