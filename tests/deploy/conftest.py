"""The image, built once for all the tests."""

import shutil

import image as dockerfile
import pytest


@pytest.fixture(scope="session")
def image():
    """The files of the image: places in it, and where they are here."""
    yield dockerfile.build()
    shutil.rmtree(dockerfile.CONTEXT.parent)
