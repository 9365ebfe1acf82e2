"""What some tests need, and skip without."""

import pytest

from maskdistill.proposals.crf import crf_available

needs_crf = pytest.mark.skipif(not crf_available(), reason="pydensecrf2 is not installed")
