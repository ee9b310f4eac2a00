"""Folders of models that other programs wrote, converted once into a card and weights of ours."""
