# what xl gives a guest that names no display, a Cirrus, and a USB tablet: a VNC client sees it and types
# seconds 400
DISPLAY_WORDS=('videoram=8' 'usb=1' 'usbdevice="tablet"')
. /share/tests/vnc.sh
