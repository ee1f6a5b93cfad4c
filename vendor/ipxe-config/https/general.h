/* Read by iPXE after its own header of the same name. */

/* UEFI builds have these already; BIOS builds leave them out. */
#define DOWNLOAD_PROTO_HTTPS	/* https:// in scripts */
#define CERT_CMD		/* certstat, certstore, certfree */
#define NTP_CMD			/* ntp: certificates need the right time */
