"""Contract tests of whatever has settings; the contracts of components build on it."""

from abc import abstractmethod

from recxfer.foundation.config import Configured


class SettingsContract:
    """Contract tests of a component's settings; a subclass says of which class."""

    @property
    @abstractmethod
    def _type(self) -> Configured:
        """The component's class."""

    def test_its_settings_survive_the_round_trip(self) -> None:
        """A checkpoint holds them as JSON."""
        config = self._type.config_type()
        assert type(config).model_validate(config.model_dump(mode="json")) == config

    def test_it_and_its_settings_say_what_they_are(self) -> None:
        """Docstrings are shown in lists and by `--settings`."""
        assert self._type.__doc__
        for name, field in self._type.config_type.model_fields.items():
            assert field.description, f"setting {name!r} has no docstring under it"
