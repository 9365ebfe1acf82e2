// The picture by itself; editable_image.js is the one on which masks are mended.
export default mount((root) => new LayeredImage(root));
