"""What the software is made of and handed out as: advisories, licences, bills of materials, files of a version."""
