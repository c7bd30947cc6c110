# what xl gives a guest that names no display, a Cirrus: a VNC client sees it and types
# seconds 400
DISPLAY_WORDS=('videoram=8')
. /share/tests/vnc.sh
