/* Consoles that a configuration can turn on for a loader, and that iPXE for Linux cannot be linked with. */

#undef CONSOLE_DEBUGCON
#undef CONSOLE_DIRECT_VGA
#undef CONSOLE_EFI
#undef CONSOLE_INT13
#undef CONSOLE_PCBIOS
#undef CONSOLE_PC_KBD
#undef CONSOLE_SBI
#undef CONSOLE_SERIAL
#undef CONSOLE_VMWARE
