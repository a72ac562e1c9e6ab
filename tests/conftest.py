"""What all tests share: how hypothesis draws."""

from hypothesis import settings

# No deadline: a shared machine stalls now and then, which says nothing about a property.
settings.register_profile("batchnorm", deadline=None)
settings.load_profile("batchnorm")
