"""Groups that the trained model finds, as `resight group` makes them of the same images."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from resight.constraints import find_constraints
from resight.groups.grouping import group_crops
from resight.groups.links import NO_GROUP, find_links
from resight.groups.rows import Crops, Row
from resight.groups.settings import Asked, settled, trained_once
from resight.report.groups import CONFIDENCE, ShownGroup, ShownGroups
from resight.report.material import Material

SAID = "Groups of these images as resight group makes them."


def found_groups(material: Material, ids: Sequence[str]) -> ShownGroups:
    """Group the images; no identity is read. `ids`: digests of their contents, copies of one file are one crop."""
    samples = (dataclasses.replace(sample, pid=None) for sample in material.images)
    crops = Crops.of(Row(id, str(sample.path), sample) for id, sample in zip(ids, samples, strict=True))
    embeddings = material.embeddings[torch.from_numpy(crops.first)]
    camids = torch.tensor(crops.split.camids)
    rules = settled(Asked(), embeddings, camids, trained_once=trained_once(material.recipe))
    seen = find_constraints(crops.unlabelled, tracklets=True, same_time=False)
    grouping = group_crops(embeddings, camids, rules, links=find_links(len(crops), seen=seen))
    number, confidence = grouping.group[crops.crop], grouping.confidence[crops.crop]
    pictures = material.images.pictures
    groups = []
    for of in np.unique(number[number != NO_GROUP]).tolist():
        places = np.flatnonzero(number == of).tolist()
        sure = tuple(confidence[places].tolist())
        groups.append(ShownGroup(f"group {of}", tuple(pictures[place] for place in places), sure))
    sentences = (f"{said[0].upper()}{said[1:]}." for said in rules.said)
    return ShownGroups(tuple(groups), int((number == NO_GROUP).sum()), " ".join((SAID, *sentences)), CONFIDENCE)
