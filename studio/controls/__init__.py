"""The attention seam: see and change joint attention while a network runs, and leave no trace."""
