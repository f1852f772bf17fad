"""Values that are made anew in every turn: dataclasses whose ``frozen`` is for type checkers.

A turn makes some forty of them, with two hundred fields. To freeze one at runtime takes longer than
all else that is done to make it, and tells no more than the strict check of types that nothing
here is without. Whatever else a frozen dataclass is, these are: compared by value, and hashable.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(*, frozen: bool = False, **options: Any) -> Any:
        """Return what makes a class a dataclass, as the standard library's does."""
        return dataclasses.dataclass(unsafe_hash=frozen, **options)
