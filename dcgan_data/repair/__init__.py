"""Rebuild a prepared set's damaged files; each is put in place only if its bytes are those recorded.

Above the drivers, as ``pipeline`` is: it prepares and de-duplicates again what it needs, beside the set.
"""

from dcgan_data.repair.running import Repair, RepairSettings, repair

__all__ = ["Repair", "RepairSettings", "repair"]
