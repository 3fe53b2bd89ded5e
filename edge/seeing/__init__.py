"""From frame to crop: where something moves, and what of it is worth a look."""
