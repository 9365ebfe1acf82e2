"""The page of a drawn photo, with the run on such photos and without one."""

from dataclasses import replace

import pytest

from maskdistill.datasets import open_source
from maskdistill.features.backbone import load_backbone
from maskdistill.handouts.guide import guide_page
from maskdistill.handouts.guide_subject import GuideSubject


@pytest.fixture(scope="session")
def subjects(scene, finished):
    """Without a run, and with one."""
    data, config = scene
    photo = open_source(data).photos[0]
    backbone = load_backbone(config.features)
    return tuple(GuideSubject.of(photo, config, backbone, run) for run in (None, finished[0]))


@pytest.fixture(scope="session")
def pages(subjects):
    return tuple(guide_page(subject) for subject in subjects)


@pytest.fixture
def hostile_page(subjects):
    """Of a photo whose name is meant to become a script."""
    name = '<script>alert(1)</script>" onload="alert(2)\udc80\u202e'
    subject = replace(subjects[0], photo=replace(subjects[0].photo, id=name))
    return guide_page(subject)
