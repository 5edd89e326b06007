"""How long work says where it stands: through one logger, which each runner shows in its own way."""

from typing import Final

PROGRESS: Final = "knet.progress"  # DEBUG: within an epoch; INFO: an epoch done
