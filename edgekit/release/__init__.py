"""What leaves: the staging of files until they are verified, and the manifest that describes them."""
