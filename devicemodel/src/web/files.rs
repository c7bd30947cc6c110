//! The page's files, which are in the program.

/// Kind and content of a file of the page, by its name below the token.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static [u8])> {
    // The page itself.
    let name = if name.is_empty() { "index.html" } else { name };
    let (_, content) = FILES.iter().find(|(other, _)| *other == name)?;
    let kind = match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    Some((kind, content))
}

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../web/", $name)))),*]
    };
}

/// All of them, with noVNC's licence, which the page names.
const FILES: &[(&str, &[u8])] = files! {
    "index.html"
    "page.css"
    "page.js"
    "monitor.js"
    "activity.js"
    "tree.js"
    "sound.js"
    "icon.svg"
    "novnc/LICENSE.txt"
    "novnc/docs/LICENSE.MPL-2.0"
    "novnc/vendor/pako/LICENSE"
    "novnc/core/base64.js"
    "novnc/core/crypto/aes.js"
    "novnc/core/crypto/bigint.js"
    "novnc/core/crypto/crypto.js"
    "novnc/core/crypto/des.js"
    "novnc/core/crypto/dh.js"
    "novnc/core/crypto/md5.js"
    "novnc/core/crypto/rsa.js"
    "novnc/core/decoders/copyrect.js"
    "novnc/core/decoders/h264.js"
    "novnc/core/decoders/hextile.js"
    "novnc/core/decoders/jpeg.js"
    "novnc/core/decoders/raw.js"
    "novnc/core/decoders/rre.js"
    "novnc/core/decoders/tight.js"
    "novnc/core/decoders/tightpng.js"
    "novnc/core/decoders/zlib.js"
    "novnc/core/decoders/zrle.js"
    "novnc/core/deflator.js"
    "novnc/core/display.js"
    "novnc/core/encodings.js"
    "novnc/core/inflator.js"
    "novnc/core/input/domkeytable.js"
    "novnc/core/input/fixedkeys.js"
    "novnc/core/input/gesturehandler.js"
    "novnc/core/input/keyboard.js"
    "novnc/core/input/keysym.js"
    "novnc/core/input/keysymdef.js"
    "novnc/core/input/util.js"
    "novnc/core/input/vkeys.js"
    "novnc/core/input/xtscancodes.js"
    "novnc/core/ra2.js"
    "novnc/core/rfb.js"
    "novnc/core/util/browser.js"
    "novnc/core/util/cursor.js"
    "novnc/core/util/element.js"
    "novnc/core/util/events.js"
    "novnc/core/util/eventtarget.js"
    "novnc/core/util/int.js"
    "novnc/core/util/logging.js"
    "novnc/core/util/strings.js"
    "novnc/core/websock.js"
    "novnc/vendor/pako/lib/utils/common.js"
    "novnc/vendor/pako/lib/zlib/adler32.js"
    "novnc/vendor/pako/lib/zlib/crc32.js"
    "novnc/vendor/pako/lib/zlib/deflate.js"
    "novnc/vendor/pako/lib/zlib/inffast.js"
    "novnc/vendor/pako/lib/zlib/inflate.js"
    "novnc/vendor/pako/lib/zlib/inftrees.js"
    "novnc/vendor/pako/lib/zlib/messages.js"
    "novnc/vendor/pako/lib/zlib/trees.js"
    "novnc/vendor/pako/lib/zlib/zstream.js"
};
