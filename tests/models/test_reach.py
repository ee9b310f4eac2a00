from __future__ import annotations

import pytest
import torch
from networks import SMALL, furthest_touched

from models.networks.builders import network_geometry
from models.networks.reach import convolved, diameter, pooled, union

torch.set_num_threads(1)


@pytest.mark.parametrize("network", SMALL, ids=repr)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_score_reads_as_far_as_its_receptive_field_and_no_further(network, axis):
    geometry = network_geometry(network)
    torch.manual_seed(0)
    assert 2 * furthest_touched(network, geometry, axis) + 1 == geometry.receptive_field[axis]


def test_layers_widen_an_interval_by_their_windows():
    assert convolved((4, 4), 3) == (3, 5)
    assert convolved((4, 5), 7, stride=2) == (5, 13)
    assert convolved((0, 0), 3, dilation=16) == (-16, 16)
    assert pooled((2, 3), 4) == (8, 15)
    assert union((0, 1), (5, 4), (3, 9)) == (0, 9)


def test_nothing_read_stays_nothing():
    empty = union((1, 0), (7, 3))
    assert convolved(empty, 7) == pooled(empty, 2) == empty
    assert diameter(lambda _: empty, 4) == 1
