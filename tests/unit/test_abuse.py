"""Abused input is refused with the rule it breaks; nothing crashes, and nothing private is reached."""

from ipaddress import ip_address

import pytest

from imagemill.netguard import is_public
from tests.unit import abuse
from tests.unit.bad_addresses import ADDRESSES
from tests.unit.bad_pictures import HARMLESS, REFUSED


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_picture_is_refused_with_the_rule_it_breaks(name):
    """Nothing Pillow raises, warns or accepts by mistake gets past: the asker is told the rule."""
    data, rule = REFUSED[name]
    assert rule in (await abuse.picture(data)).said


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_may_not_go_further_is_left_behind(name):
    """Profiles, rotation, colours, frames, tails and words: what is sent on is plain pixels."""
    assert "plain RGB" in (await abuse.made_harmless(HARMLESS[name])).said


@pytest.mark.parametrize("name", abuse.PATHS)
async def test_a_path_that_may_not_be_read_is_refused(name):
    """Without waiting, and without telling what lies outside."""
    said = (await abuse.path(name)).said
    assert (
        "not in a folder that may be read" in said
        or "cannot be read" in said
        or "not a file" in said
    )


@pytest.mark.parametrize("name", ADDRESSES)
async def test_a_bad_address_is_refused_and_nothing_private_is_reached(name):
    """Every connection that was made went to a public address, and no more than the case may cost."""
    case = ADDRESSES[name]
    outcome = await abuse.address(case)
    assert case.rule in outcome.said
    assert len(outcome.connected) == case.connects
    assert all(is_public(ip_address(host)) for host in outcome.connected)
    assert "s3cret" not in outcome.said


def test_the_table_is_as_long_as_was_promised():
    """At least 25 pictures, and the addresses of facts/storage.md section 6."""
    assert len(REFUSED) >= 25
    assert len(ADDRESSES) >= 40


async def test_the_page_says_what_is_said():
    """docs/abuse.md is what trying every case writes; else run `python -m tests.unit.abuse`."""
    assert abuse.PAGE.read_text("utf-8") == await abuse.page()
