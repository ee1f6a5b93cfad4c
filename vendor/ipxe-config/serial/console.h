/* Read by iPXE after its own header of the same name. */

#define CONSOLE_SERIAL		/* COM1, 115200 baud, besides the screen */
