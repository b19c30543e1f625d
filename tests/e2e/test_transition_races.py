"""Races that the rules of a transition exist for, made to happen. In a build with mutations (`make
check-mutations`) each rule in turn is switched off, and its race must be lost, or the test is blind."""

import re

import pytest

from harness import env
from harness.duel import RuleBroken
from harness.races import RACES
from harness.scenario import hostile, violations

MUTATIONS = env.BUILD == "mutations"
EACH = [pytest.param(rule, race, kw, id=f"{rule}-{kw.get('kind', ('',))[0] or i}")
        for rule, races in RACES.items() for i, (race, kw) in enumerate(races)]


@pytest.mark.parametrize("rule, race, kw", EACH)
def test_race(world, rule, race, kw):
    race(world, **kw)


@pytest.mark.long
@pytest.mark.parametrize("protocol, storage, evict", [("memcached", False, False),
                                                      ("memcached", False, True),
                                                      ("redis", True, False)],
                         ids=["memcached", "evicted", "store"])
def test_hostile(world, protocol, storage, evict):
    """Few keys, a network on which nothing takes the same time twice, proxies a phase apart, there
    and back again and again."""
    scene = hostile(world, protocol, storage, 20 if env.LONG else 2.5, evict=evict)
    scene.prove()
    assert scene.walk.version >= 10


if MUTATIONS:
    @pytest.mark.parametrize("rule, race, kw", EACH)
    def test_mutation_loses_its_race(world, rule, race, kw):
        with pytest.raises(RuleBroken):
            race(world, bug=rule, **kw)

    # Others are too rare for a load on this machine.
    @pytest.mark.parametrize("rule, protocol", [("NOHOLD", "memcached"), ("NODRAIN", "memcached"),
                                                ("READORDER", "redis")])
    def test_mutation_is_found_by_the_judge(world, rule, protocol):
        for _ in range(3):
            scene = hostile(world, protocol, protocol == "redis", seconds=8, bug=rule)
            if violations(scene):
                return
        pytest.fail(f"the judge does not see that {rule} is off")

    def test_every_rule_has_its_race():
        text = (env.ROOT / "common/mutation.def").read_text()
        proxy = set(re.findall(r"^MUTATION\((\w+), (?:proxy|both),", text, re.M))
        assert proxy == set(RACES)
