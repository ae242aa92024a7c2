import pytest

from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.synthetic_data.pools import ATTRIBUTES, full_pools, load_pools


def test_pools_have_the_sizes_of_the_study():
    pools = full_pools()
    assert [len(pools.first_names), len(pools.middle_names), len(pools.last_names)] == [900, 900, 1000]
    assert [len(pools.values(a)) for a in ATTRIBUTES] == [200 * 12 * 31, 800, 800, 200, 100, 500]


@pytest.mark.parametrize(
    "name", ["first_names", "middle_names", "last_names", "cities", "universities", "majors", "companies"]
)
def test_entries_are_distinct_and_clean(name):
    entries = getattr(full_pools(), name)
    assert len({entry.casefold() for entry in entries}) == len(entries)
    assert all(
        entry and entry == " ".join(entry.split()) and "." not in entry and "," not in entry for entry in entries
    )


def test_the_three_name_pools_are_disjoint_so_that_a_name_token_tells_its_role():
    pools = full_pools()
    names = [*pools.first_names, *pools.middle_names, *pools.last_names]
    assert len(set(names)) == len(names)
    assert all(name.isalpha() for name in names)


def test_impossible_dates_exist():
    assert "31 February 1900" in full_pools().birth_dates


def test_a_pool_larger_than_its_file_is_refused():
    with pytest.raises(UserError, match=r"population.pools.majors=101 is too large; there are only 100"):
        load_pools(compose(["population.pools.majors=101"]).population.pools)
