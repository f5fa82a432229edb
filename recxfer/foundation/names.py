"""Names of columns, files and labels in the formats that recxfer writes.

The dataset format is described in `docs/reference/dataset.md`, the run format in
`docs/reference/checkpoint.md`.
"""

from typing import Final

# Columns of interactions.parquet
USER: Final = "user"
ITEM: Final = "item"
TIMESTAMP: Final = "timestamp"
EVENT: Final = "event"
WEIGHT: Final = "weight"
SPLIT: Final = "split"

# Columns of items.parquet and users.parquet
ITEM_ID: Final = "item_id"
USER_ID: Final = "user_id"
NUM_EVENTS: Final = "num_events"
TEXT: Final = "text"
IMAGE: Final = "image"
IMAGE_ROW: Final = "image_row"

# Columns of links/<other>.parquet
OTHER_USER: Final = "other_user"

# Split labels, in the order of their codes (0, 1, 2)
TRAIN: Final = "train"
VALID: Final = "valid"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VALID, TEST)

# Files of a dataset directory
DATASET_JSON: Final = "dataset.json"
INTERACTIONS: Final = "interactions"
ITEMS: Final = "items"
USERS: Final = "users"
LINKS: Final = "links"
IMAGES: Final = "content/images.npy"
FEATURES: Final = "features"

# Files of a run directory
RUN_JSON: Final = "run.json"
CHECKPOINT: Final = "checkpoint.safetensors"
VOCABULARY: Final = "vocabulary.parquet"
HISTORY: Final = "history.parquet"
RESUME: Final = "resume.safetensors"

# Runs of several seeds lie in one folder, as seed-0, seed-1, ...
SEED_FOLDER: Final = "seed-"

# The one key of a safetensors header that recxfer writes
HEADER_KEY: Final = "recxfer"

# Item index 0 fills the end of a batch row; it is no item.
PAD: Final = 0

# What hides an item, and what stands for items that the vocabulary lacks. They count from the end
# of the items, so that they stay the same when items come in.
MASK: Final = -2
UNKNOWN: Final = -1

# Columns that users.parquet holds besides the labels
USER_COLUMNS: Final = (USER, USER_ID, NUM_EVENTS, SPLIT)
