"""Keras model to .tflite: conversion, metadata, compatibility."""
