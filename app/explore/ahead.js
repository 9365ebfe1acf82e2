// Takes in pictures that will be wanted soon; shows nothing.
export default function ({ data }) {
  takePictures(data.pictures, data.names);
}
