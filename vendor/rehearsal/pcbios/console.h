/* How a BIOS loader differs from iPXE for Linux by iPXE's own console.h. */

#undef CONSOLE_FRAMEBUFFER
#undef CONSOLE_SYSLOG
#undef CONSOLE_SYSLOGS
