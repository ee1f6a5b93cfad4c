/* Host controllers and devices, of which iPXE for Linux has none. */

#undef USB_HCD_EHCI
#undef USB_HCD_UHCI
#undef USB_HCD_USBIO
#undef USB_HCD_XHCI

#undef USB_BLOCK
#undef USB_EFI
#undef USB_KEYBOARD
