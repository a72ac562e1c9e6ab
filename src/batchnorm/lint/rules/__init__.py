"""The rules, one file each; their order is that of their ids, and an id is never given again."""

from batchnorm.lint.rule import Rule
from batchnorm.lint.rules import (
    channel_axis,
    epsilon_in_place_of,
    extreme_momentum,
    forced_statistics,
    foreign_arguments,
    foreign_attributes,
    frozen_by_gradient,
    inverted_momentum,
    late_settings,
    mode_not_restored,
    name_filters,
    never_training,
    ported_defaults,
    tape_without_training,
    unparenthesised,
)

__all__ = ["RULES"]

_FILES = (
    inverted_momentum,
    extreme_momentum,
    ported_defaults,
    channel_axis,
    foreign_attributes,
    forced_statistics,
    never_training,
    name_filters,
    unparenthesised,
    frozen_by_gradient,
    late_settings,
    epsilon_in_place_of,
    foreign_arguments,
    mode_not_restored,
    tape_without_training,
)
RULES: tuple[Rule, ...] = tuple(file.RULE for file in _FILES)
