/* Read by iPXE after its own header of the same name. */

#define PING_CMD		/* ping */
#define NSLOOKUP_CMD		/* nslookup */
#define IPSTAT_CMD		/* ipstat */
#define NEIGHBOUR_CMD		/* nstat */
#define TIME_CMD		/* time */
/* UEFI builds have these already; BIOS builds leave them out. */
#define DIGEST_CMD		/* md5sum, sha256sum and their like */
#define PCI_CMD			/* pciscan */
