"""Examine a trained model: does it copy (``neighbours``), how good is it (``score``)?"""
