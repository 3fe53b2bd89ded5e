"""What a picture or clip of a visit says of itself, so that it explains itself wherever it is copied to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.recording import exif

if TYPE_CHECKING:
    # edge.types needs numpy, which edge-listen does without.
    from edge.types import Deployment, Sighting

_OBSERVATIONS = "https://camtrap-dp.tdwg.org/data/#observations."
"""With a field's name behind it the address of that field's definition in Camtrap DP."""
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:camtrapdp={namespace}{fields}>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>
   <dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def described(jpeg: bytes, sighting: Sighting, deployment: Deployment, model: str) -> bytes:
    """A JPEG with the visit that it shows in its EXIF fields and as XMP.

    Any viewer shows the description and finds the species as a keyword (`dc:subject`); programs find the fields of
    Camtrap DP's observations. Where the trap hangs is not in it: pictures are passed on.

    Args:
        jpeg: a picture of the visit, taken at `sighting.pictured_at`.
        sighting: what is said of it.
        deployment: the trap.
        model: name and version of the bundle that recognised it.

    Raises:
        ImageError: `jpeg` is not a JPEG file.
    """
    taken = sighting.pictured_at or sighting.last_seen
    says = description(sighting, deployment)
    return exif.write(jpeg, id=sighting.id, taken=taken, description=says, xmp=_xmp(sighting, deployment, model, says))


def description(sighting: Sighting, deployment: Deployment) -> str:
    """As `tiger (Panthera tigris), 98 %, oak 7`."""
    scientific = f" ({sighting.scientific_name})" if sighting.scientific_name else ""
    return f"{sighting.species}{scientific}, {100 * sighting.probability:.0f} %, {deployment.name}"


def _xmp(sighting: Sighting, deployment: Deployment, model: str, says: str) -> bytes:
    from xml.sax.saxutils import escape, quoteattr  # only when something was seen

    fields = {
        "deploymentID": deployment.name,
        "eventID": sighting.id,
        "eventStart": sighting.event_start.isoformat(timespec="seconds"),
        "observationType": sighting.observation_type,
        "scientificName": sighting.scientific_name,
        "classificationMethod": "machine",
        "classifiedBy": model,
        "classificationProbability": f"{sighting.probability:.4f}",
    }
    keywords = [name for name in (sighting.species, sighting.scientific_name) if name]
    return _PACKET.format(
        namespace=quoteattr(_OBSERVATIONS),
        fields="".join(f"\n    camtrapdp:{name}={quoteattr(text)}" for name, text in fields.items() if text),
        description=escape(says),
        keywords="".join(f"<rdf:li>{escape(name)}</rdf:li>" for name in keywords),
    ).encode()
