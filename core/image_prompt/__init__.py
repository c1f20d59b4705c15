"""Image prompts: a picture says what the subject looks like, coarsely as a word, finely in the attention."""
