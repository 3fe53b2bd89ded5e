"""What is kept to be looked at: pictures, clips, and what they say of themselves."""
