/*
 * How a UEFI loader differs from iPXE for Linux by iPXE's own general.h. The header of a configuration comes after this
 * one, so that what it defines holds.
 */

#define POWEROFF_CMD
#define REBOOT_CMD
