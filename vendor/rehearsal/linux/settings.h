/* Settings that a configuration can turn on for a loader, and that iPXE for Linux cannot be linked with. */

#undef EFI_SETTINGS
#undef MEMMAP_SETTINGS
#undef VMWARE_SETTINGS
#undef VRAM_SETTINGS
