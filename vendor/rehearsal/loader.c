/*
 * Commands and features that loaders have, and that iPXE for Linux leaves out although it can be linked with them.
 *
 * This object is linked only into the program that `rehearse` runs; no loader has it. In a loader, drivers bring in the
 * first commands, and loaders without these drivers lack them: undionly.kpxe and snponly.efi have no `ibstat`, `iwlist`
 * and `iwstat`.
 */

FILE_LICENCE ( GPL2_OR_LATER_OR_UBDL );

/* Each file of iPXE that raises errors has a number */
#define ERRFILE_rehearse_loader ( ERRFILE_OTHER | 0x00fe0000 )

#include <stdint.h>
#include <errno.h>
#include <config/general.h>
#include <ipxe/command.h>
#include <ipxe/dhcp.h>
#include <ipxe/features.h>

PROVIDE_REQUIRING_SYMBOL();

#ifdef USB_CMD
REQUIRE_OBJECT ( usb_cmd );
#endif
#ifdef IBMGMT_CMD
REQUIRE_OBJECT ( ibmgmt_cmd );
#endif
#ifdef IWMGMT_CMD
REQUIRE_OBJECT ( iwmgmt_cmd );
#endif

/*
 * iPXE's own command would bring in its PCI bus, which looks for a device at each of 65,536 addresses when it starts:
 * that takes longer than a whole rehearsal. This one finds none.
 */
#ifdef PCI_CMD
static int rehearse_pciscan ( int argc __unused, char **argv __unused ) {
	return -ENODEV;
}

COMMAND ( pciscan, rehearse_pciscan );
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
