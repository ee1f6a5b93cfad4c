/*
 * How a BIOS loader differs from iPXE for Linux by iPXE's own general.h. The header of a configuration comes after this
 * one, so that what it defines holds.
 */

#define REHEARSE_PCBIOS		/* Read by loader.c */

#undef NET_PROTO_IPV6
#undef NET_PROTO_LLDP

#undef DOWNLOAD_PROTO_HTTPS
#undef HTTP_AUTH_NTLM

#undef CERT_CMD
#undef CONSOLE_CMD
#undef DIGEST_CMD
#undef NTP_CMD
#undef PARAM_CMD
#undef PCI_CMD
#undef USB_CMD
#undef VLAN_CMD

#define POWEROFF_CMD
#define REBOOT_CMD

#define PXE_MENU
