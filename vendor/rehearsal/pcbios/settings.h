/* How a BIOS loader differs from iPXE for Linux by iPXE's own settings.h. */

#undef ACPI_SETTINGS
#undef CPUID_SETTINGS
