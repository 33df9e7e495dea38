"""What is known of one asset while it is made: its turns, what each showed and what each cost."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from imagemill.artifact import ArtifactRef
from imagemill.asset.finishing import Finish
from imagemill.asset.judgement import Judgement
from imagemill.asset.loop import Ending
from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.asset.template import Wording
from imagemill.quality import Check
from imagemill.request import ImageResult


@dataclass
class Turn:
    """One picture of an asset and everything that was found out about it.

    Attributes:
        prompt: The words it was asked for with.
        by: Who worded it: `template`, `rules` or a model.
        sample: 0, or how often these very words were drawn before for this asset.
        index: Its number among the images of the run.
        drawn: The picture as it came; kept as it is.
        artifact: What would be delivered, at `path` on this machine.
        judgement: None while nobody judged it, or when every judgement failed.
        cost_usd: What picture, judgements and the refinement before it had cost, whoever paid.
    """

    prompt: str = field(repr=False)
    by: str = "template"
    sample: int = 0
    index: int = -1
    drawn: ImageResult | None = None
    artifact: ArtifactRef | None = None
    path: Path | None = None
    facts: Finish = field(default_factory=Finish)
    checks: tuple[Check, ...] = ()
    judgement: Judgement | None = None
    judge_failures: list[str] = field(default_factory=list)
    cost_usd: Decimal = Decimal(0)

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The technical checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def seconds(self) -> float:
        """How long the provider took, when it drew."""
        return self.drawn.seconds if self.drawn else 0.0

    @property
    def original(self) -> Path:
        """Where the picture lies as it came."""
        return Path(self.drawn.local_path or "") if self.drawn else Path()


@dataclass
class Bench:
    """One asset at work.

    Attributes:
        twins: How many earlier assets of the run have the very same words.
        turns: By iteration, from 1.
        paid_usd: What this run was charged for it.
        sent: Whether this run sent anything for it.
        references: Encoded pictures that its own are guided by.
        ending: How it ended, once it has.
    """

    request: AssetRequest
    guide: StyleGuide
    wording: Wording
    twins: int = 0
    turns: dict[int, Turn] = field(default_factory=dict)
    paid_usd: Decimal = Decimal(0)
    sent: bool = False
    ending: Ending | None = None
    references: tuple[bytes, ...] = ()

    @property
    def best(self) -> Turn | None:
        """The turn whose picture is delivered."""
        iteration = self.ending.best if self.ending else None
        return self.turns[iteration] if iteration else None

    def next_sample(self, prompt: str, most: int) -> int:
        """Return the sample number of a prompt: the same words again are another picture.

        Args:
            prompt: The words.
            most: Pictures that an asset may have; twins begin behind each other's.
        """
        before = sum(turn.prompt == prompt for turn in self.turns.values())
        return self.twins * most + before
