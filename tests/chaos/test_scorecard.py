"""The judge of `make chaos` sees what it must see: a crime put into the evidence is counted."""

from dataclasses import replace
from decimal import Decimal

import pytest

from chaos.judging import Attempt, Billed, Evidence, Said, judge
from chaos.scorecard import Section, cells, write
from chaos.stage import Outcome

PRICE = Decimal("0.04")


def attempt(number: int, key: str, state: str, **more) -> Attempt:
    """An attempt whose books are right."""
    charged = PRICE if state == "charged" else Decimal(0)
    booked = PRICE if state in {"charged", "ambiguous", "resent"} else Decimal(0)
    digest = f"{key}-{number}" if state == "charged" else None
    return Attempt(number, key, "run", state, digest, PRICE, charged, booked, **more)


@pytest.fixture
def honest() -> Evidence:
    """Three images: one paid, one lost and resent, one lost and left so."""
    return Evidence(
        asked=3,
        bill={"a": Billed(1, 1, 1), "b": Billed(2, 1, 2), "c": Billed(1, 0, 1)},
        attempts=[
            attempt(1, "a", "charged"),
            attempt(2, "b", "resent"),
            attempt(3, "b", "charged"),
            attempt(4, "c", "ambiguous"),
        ],
        said=[Said("a", "reused", "a-1"), Said("b", "made", "b-3"), Said("c", "ambiguous")],
        objects={"x/a-1.png": "a-1", "x/b-3.png": "b-3"},
        queued=["e1", "e2"],
        received=["e1", "e2", "e2"],
    )


def changed(evidence: Evidence, number: int, **values) -> Evidence:
    """The evidence with one attempt told otherwise."""
    rows = [replace(a, **values) if a.id == number else a for a in evidence.attempts]
    return replace(evidence, attempts=rows)


def test_an_honest_row_is_acquitted(honest):
    """Lost answers that are listed, and those resent on request, are no crime."""
    verdict = judge(honest)
    assert verdict.broken == []
    assert (verdict.delivered, verdict.charged, verdict.ambiguous) == (2, 2, 2)
    assert (verdict.events_received, verdict.events_again) == (2, 1)


def test_a_second_bill_that_the_ledger_does_not_know_is_a_double_charge(honest):
    """The provider billed one key twice, the ledger knows of one."""
    verdict = judge(replace(honest, bill={**honest.bill, "a": Billed(2, 1, 2)}))
    assert (verdict.charged_twice, verdict.uncounted, verdict.lost) == (1, 1, 0)


def test_two_charges_for_one_key_are_a_double_charge(honest):
    """Even when the books agree with the bill."""
    twice = replace(
        honest,
        bill={**honest.bill, "a": Billed(2, 2, 2)},
        attempts=[*honest.attempts, attempt(5, "a", "charged")],
    )
    assert judge(twice).charged_twice == 1


def test_sending_an_unclear_one_again_unasked_is_a_double_charge(honest):
    """An ambiguous attempt beside a charge, or one resent in a row where nobody asked for it."""
    assert judge(changed(honest, 2, state="ambiguous")).charged_twice == 1
    assert judge(replace(honest, resend_asked=False)).charged_twice == 1


def test_a_whole_answer_nobody_lists_is_lost(honest):
    """The provider sent a picture; the ledger says that nothing came."""
    gone = changed(honest, 1, state="failed", charged=Decimal(0), booked=Decimal(0))
    verdict = judge(replace(gone, said=[Said("a", "failed"), *honest.said[1:]]))
    assert (verdict.lost, verdict.uncounted) == (1, 1)


@pytest.mark.parametrize(
    "crime",
    [
        {"objects": {"x/b-3.png": "b-3"}},
        {"objects": {"x/a-1.png": "other bytes", "x/b-3.png": "b-3"}},
        {"objects": {"x/somewhere.png": "a-1", "x/b-3.png": "b-3"}},
        {"said": [Said("a", "failed"), Said("b", "made", "b-3"), Said("c", "ambiguous")]},
        {"said": [Said("a", "made", "a-1"), Said("b", "made", "b-3"), Said("c", "failed")]},
    ],
    ids=[
        "not in the store",
        "damaged in the store",
        "under a wrong name",
        "not delivered",
        "unclear, not listed",
    ],
)
def test_a_paid_image_that_is_not_handed_out_is_lost(honest, crime):
    """Paid, and not in the store, or not as it was, or not in the last result; or not named."""
    assert judge(replace(honest, **crime)).lost == 1


def test_copies_and_unpaid_pictures_in_the_store_are_counted(honest):
    """One content under two names; a picture without a charge."""
    more = {**honest.objects, "x/copy-of-a-1.png": "a-1", "x/z.png": "z"}
    assert judge(replace(honest, objects=more)).stored_twice == 2


def test_books_that_do_not_add_up_are_counted(honest):
    """A charge row missing; a reservation left open."""
    assert judge(changed(honest, 4, booked=Decimal(0))).unbalanced == 1
    assert judge(changed(honest, 4, state="open", booked=Decimal(0))).unsettled == 1


def test_an_event_that_never_came_is_counted(honest):
    """It is in the outbox; the receiver never took it."""
    assert judge(replace(honest, received=["e1"])).events_missing == 1


def test_the_report_keeps_the_section_of_the_other_database(honest, tmp_path):
    """`make chaos` replaces the SQLite table only, and shows what is broken."""
    path = tmp_path / "reliability.md"
    good = Outcome("A fault", judge(honest))
    bad = Outcome("A crime", judge(replace(honest, objects={})))
    write(path, [Section(name, [good], 1, 9.0) for name in ("sqlite", "postgresql")])
    write(path, [Section("sqlite", [bad], 2, 9.0)])
    sqlite, postgresql = path.read_text("utf-8").split("## PostgreSQL")
    assert "BROKEN** A crime: 2 paid images lost" in sqlite
    assert "| A fault | 3 |" in postgresql
    assert "No promise was broken" in postgresql
    assert len(cells(good)) == sqlite.split("## SQLite")[1].split("\n|---")[1].split("\n")[0].count(
        "|"
    )
