"""Numbers that are no image: the array itself, of two axes with a picture.

`media` is the JSON data that a run keeps:

  dict(kind="array", source=name, shape=[...], num_values=V or None)

Without `shape` an item is one row of sites.
"""

import pathlib

import numpy as np


def decode(media, x):
  """The array of one item, [*shape], of its sites [L] or [L, C].

  Several channels of a site are the last axis.
  """
  x = np.asarray(x)
  shape = tuple(media.get("shape") or (len(x),))
  several = x.ndim > 1 and x.shape[1] > 1
  return x.reshape(*shape, -1) if several else x.reshape(shape)


def save(media, x_LC, folder, name):
  """Writes NAME.npy, and NAME.png of two axes; returns the paths.

  Gray is from the least to the greatest value.

  Args:
    media: as above.
    x_LC: sites of one item.
    folder: exists.
    name: of the files, without a suffix.
  """
  from matplotlib import image

  array = decode(media, x_LC)
  path = pathlib.Path(folder) / f"{name}.npy"
  np.save(path, array)
  if array.ndim != 2:
    return [path]
  picture = path.with_name(f"{name}.png")
  image.imsave(picture, array, cmap="gray")
  return [path, picture]
