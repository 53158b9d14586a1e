"""What the HDF5 formats share: opening, finding and checking objects, reading them fast."""
