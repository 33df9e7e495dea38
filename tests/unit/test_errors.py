"""Errors say what to do, survive a process border, and know whether another attempt may help."""

import pickle
from decimal import Decimal

import pytest

from imagemill import errors
from imagemill.errors import Billing, ContentBlocked, ImagemillError, RateLimited
from imagemill.report import REMEDY_BY_CLASS


def family(kind=ImagemillError):
    """Return every class of the tree."""
    return [kind, *(member for child in kind.__subclasses__() for member in family(child))]


TREE = [kind for kind in family() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_survives_a_process_border(kind):
    """Message, remedy and cost come back, and so does the class."""
    error = kind("What was asked.", remedy="Do this.")
    error.cost_usd = Decimal("0.01")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "What was asked. Do this."
    assert again.cost_usd == Decimal("0.01")


def test_what_an_error_carries_besides_survives_too():
    """The provider's own retry-after and the filter's reason."""
    slow = pickle.loads(pickle.dumps(RateLimited("slow", retry_after_s=7.0)))
    blocked = pickle.loads(pickle.dumps(ContentBlocked("no", reason="PROHIBITED")))
    assert (slow.retry_after_s, blocked.reason) == (7.0, "PROHIBITED")


@pytest.mark.parametrize("kind", TREE)
def test_nothing_that_may_have_been_billed_is_sent_again_by_itself(kind):
    """Money first: unknown billing is never retryable."""
    assert not (kind.retryable and kind.billing is Billing.UNKNOWN)


@pytest.mark.parametrize("kind", TREE)
def test_every_class_of_an_image_failure_has_a_remedy_in_the_report(kind):
    """Those that can end an image; a webhook or a local service never does."""
    if kind.error_class not in {"error", "webhook", "service"}:
        assert kind.error_class in REMEDY_BY_CLASS


def test_every_class_of_the_tree_is_in_its_picture():
    """The docstring shows the tree; a class that is missing there is missing in people's heads."""
    drawn = errors.__doc__
    assert [kind.__name__ for kind in TREE if kind.__name__ not in drawn] == []
