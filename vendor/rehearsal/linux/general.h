/*
 * What a configuration can turn on for a loader, and iPXE for Linux cannot be linked with. This comes after the header
 * of the configuration.
 */

#undef DOWNLOAD_PROTO_FILE

#undef PXE_CMD
#undef FDT_CMD

#undef IMAGE_BZIMAGE
#undef IMAGE_COMBOOT
#undef IMAGE_EFI
#undef IMAGE_EFISIG
#undef IMAGE_ELF
#undef IMAGE_ELTORITO
#undef IMAGE_LKRN
#undef IMAGE_MULTIBOOT
#undef IMAGE_NBI
#undef IMAGE_PXE
#undef IMAGE_SDI
#undef IMAGE_UCODE

#undef VNIC_IPOIB
#undef VNIC_XSIGO

#undef PXE_STACK
#undef CERTS_EFI
#undef NULL_TRAP
#undef GDBSERIAL
#undef GDBUDP
