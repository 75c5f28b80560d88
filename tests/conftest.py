from __future__ import annotations

import os

# Every process a test starts would compile the whole program again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
