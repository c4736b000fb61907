"""What the latent space looks like: walks, vector arithmetic, turning faces (sec. 6.1 and 6.3.2)."""
