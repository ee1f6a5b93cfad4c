/*
 * Commands and features that loaders have, and that iPXE for Linux leaves out although it can be linked with them.
 *
 * This object is linked only into the program that `rehearse` runs; no loader has it. In a loader, drivers bring in the
 * first commands, and loaders without these drivers lack them: undionly.kpxe and snponly.efi have no `ibstat`, `iwlist`
 * and `iwstat`.
 */

FILE_LICENCE ( GPL2_OR_LATER_OR_UBDL );

#include <stdint.h>
#include <config/general.h>
#include <ipxe/dhcp.h>
#include <ipxe/features.h>

PROVIDE_REQUIRING_SYMBOL();

#ifdef PCI_CMD
REQUIRE_OBJECT ( pci_cmd );
#endif
#ifdef USB_CMD
REQUIRE_OBJECT ( usb_cmd );
#endif
#ifdef IBMGMT_CMD
REQUIRE_OBJECT ( ibmgmt_cmd );
#endif
#ifdef IWMGMT_CMD
REQUIRE_OBJECT ( iwmgmt_cmd );
#endif

/* Of these, iPXE tells DHCP servers in option 175 */
uint8_t rehearse_features[] __dhcp_feature = {
#ifdef REHEARSE_PCBIOS
	DHCP_EB_FEATURE_BZIMAGE, DHCP_OPTION ( 1 ),
	DHCP_EB_FEATURE_ELF, DHCP_OPTION ( 1 ),
	DHCP_EB_FEATURE_MULTIBOOT, DHCP_OPTION ( 1 ),
	DHCP_EB_FEATURE_PXE, DHCP_OPTION ( 1 ),
	DHCP_EB_FEATURE_PXE_EXT, DHCP_OPTION ( 2 ),
#else
	DHCP_EB_FEATURE_EFI, DHCP_OPTION ( 1 ),
#endif
};
