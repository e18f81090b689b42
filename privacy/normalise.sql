-- The normaliser's macros, each after the ones it uses. Raise NORMALISER_VERSION if the result of a macro changes:
-- tokens made before and after cannot be compared.

-- Latin letters become A to Z, first those that stand for several letters. Then combining accents are removed, and the
-- marks of optional vowels in Arabic and Hebrew. The map is written out: Unicode has no decomposition of Ł or Ø.
CREATE OR REPLACE MACRO fold_name(x) AS CASE WHEN strlen(x) = length(x) THEN upper(x) ELSE
    nfc_normalize(regexp_replace(regexp_replace(
        translate(
            replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
            replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(upper(nfc_normalize(x))
            , 'Œ', 'OE'), 'Æ', 'AE'), 'Þ', 'TH'), 'ẞ', 'SS'), 'ß', 'SS'), 'Ĳ', 'IJ')
            , 'ĳ', 'IJ'), 'Ǆ', 'DZ'), 'ǅ', 'DZ'), 'ǆ', 'DZ'), 'Ǉ', 'LJ'), 'ǈ', 'LJ')
            , 'ǉ', 'LJ'), 'Ǌ', 'NJ'), 'ǋ', 'NJ'), 'ǌ', 'NJ'), 'Ǳ', 'DZ'), 'ǲ', 'DZ')
            , 'ǳ', 'DZ'), 'Ǣ', 'AE'), 'Ǽ', 'AE'),
            'ŁØĐÐĦŦŊƏƁƊƘƳıŉſĸƒÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿĀāĂăĄąĆćĈĉĊċČčĎďĒēĔĕĖėĘę'
            'ĚěĜĝĞğĠġĢģĤĥĨĩĪīĬĭĮįİĴĵĶķĹĺĻļĽľŃńŅņŇňŌōŎŏŐőŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽžƠơƯưǍǎǏǐǑǒ'
            'ǓǔǕǖǗǘǙǚǛǜǞǟǠǡǦǧǨǩǪǫǬǭǰǴǵǸǹǺǻȀȁȂȃȄȅȆȇȈȉȊȋȌȍȎȏȐȑȒȓȔȕȖȗȘșȚțȞȟȦȧȨȩȪȫȬȭȮȯȰȱȲȳḀḁḂḃḄḅḆḇḈḉḊḋḌḍḎḏḐḑḒḓḔ'
            'ḕḖḗḘḙḚḛḜḝḞḟḠḡḢḣḤḥḦḧḨḩḪḫḬḭḮḯḰḱḲḳḴḵḶḷḸḹḺḻḼḽḾḿṀṁṂṃṄṅṆṇṈṉṊṋṌṍṎṏṐṑṒṓṔṕṖṗṘṙṚṛṜṝṞṟṠṡṢṣṤṥṦṧṨṩṪṫṬṭṮṯṰṱṲ'
            'ṳṴṵṶṷṸṹṺṻṼṽṾṿẀẁẂẃẄẅẆẇẈẉẊẋẌẍẎẏẐẑẒẓẔẕẖẗẘẙẛẠạẢảẤấẦầẨẩẪẫẬậẮắẰằẲẳẴẵẶặẸẹẺẻẼẽẾếỀềỂểỄễỆệỈỉỊịỌọỎỏỐốỒồỔổ'
            'ỖỗỘộỚớỜờỞởỠỡỢợỤụỦủỨứỪừỬửỮữỰựỲỳỴỵỶỷỸỹⱼⱽＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺǾ',
            'LODDHTNEBDKYINSKFAAAAAACEEEEIIIINOOOOOUUUUYAAAAAACEEEEIIIINOOOOOUUUUYYAAAAAACCCCCCCCDDEEEEEEEE'
            'EEGGGGGGGGHHIIIIIIIIIJJKKLLLLLLNNNNNNOOOOOORRRRRRSSSSSSSSTTTTUUUUUUUUUUUUWWYYYZZZZZZOOUUAAIIOO'
            'UUUUUUUUUUAAAAGGKKOOOOJGGNNAAAAAAEEEEIIIIOOOORRRRUUUUSSTTHHAAEEOOOOOOOOYYAABBBBBBCCDDDDDDDDDDE'
            'EEEEEEEEEFFGGHHHHHHHHHHIIIIKKKKKKLLLLLLLLMMMMMMNNNNNNNNOOOOOOOOPPPPRRRRRRRRSSSSSSSSSSTTTTTTTTU'
            'UUUUUUUUUVVVVWWWWWWWWWWXXXXYYZZZZZZHTWYSAAAAAAAAAAAAAAAAAAAAAAAAEEEEEEEEEEEEEEEEIIIIOOOOOOOOOO'
            'OOOOOOOOOOOOOOUUUUUUUUUUUUUUYYYYYYYYJVABCDEFGHIJKLMNOPQRSTUVWXYZO'
        ),
        '([A-Z])[\x{0300}-\x{036F}]+', '\1', 'g'),
        '[\x{0640}\x{064B}-\x{0652}\x{0670}\x{05B0}-\x{05C7}]', '', 'g'))
    END;

-- Remarks in brackets and apostrophes are removed, hyphens and similar signs become spaces, and other characters that
-- are not letters are removed, as are a title before the name and a suffix after it.
CREATE OR REPLACE MACRO spaced_name(x) AS CASE WHEN regexp_full_match(x, '[A-Z]+') THEN x ELSE
    nullif(regexp_replace(regexp_replace(trim(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
        regexp_replace(x, '\([^)]*\)', ' ', 'g'),
        '[''`´‘’‛ʹʻʼʽʾʿ′＇]', '', 'g'),
        '[\s\x{00A0}\x{2000}-\x{200B}\x{3000}\-‐‑‒–—―−_./\\,;:&+·・]+', ' ', 'g'),
        '[^\p{L}\p{M} ]', '', 'g'),
        ' +', ' ', 'g')),
        '^(?:MASTER|MISS|MR|MRS|MS|MX|DR) ', ''),
        ' (?:JR|JNR|JUNIOR|SNR|SENIOR|II|III)$', ''), '')
    END;

CREATE OR REPLACE MACRO stands_for_no_name(x) AS regexp_full_match(x,
    '(?:BABY|INFANT|TWIN|TRIPLET|NEWBORN|NEW BORN)(?: .*)?'
    '|BABY ?(?:BOY|GIRL|SON|DAUGHTER|OF|TWIN|ONE|TWO|A|B).*'
    '|(?:INFANT|TWIN|TRIPLET) ?(?:OF|BOY|GIRL|ONE|TWO|THREE|I|II|III|A|B|C)'
    '|INFANT ?OF.*'
    '|(?:SURNAME |FORENAME |NAME )?UNKNOWN(?: .*)?|UNK|NOT ?KNOWN|NK|N K|N A|NONE|NULL|UNNAMED|NO ?NAME'
    '|NOT ?(?:GIVEN|STATED|PROVIDED|RECORDED|AVAILABLE|APPLICABLE|YET ?NAMED|NAMED)'
    '|ANON|ANONYMOUS|TB ?[ACD]|X{2,}|DUMMY|DO ?NOT ?USE|REDACTED|WITHHELD|MISSING|BLANK'
    '|(?:GRAND|STEP|FOSTER )?(?:CHILD|SON|DAUGHTER)|(?:GRAND|STEP)?(?:MOTHER|FATHER|PARENT)|NEPHEW|NIECE|KID|MINOR'
    '|HUSBAND|WIFE|SPOUSE|OCCUPANT|OCCUPIER|RESIDENT|LADY ?OF ?THE ?(?:HOUSE|HOME)|OF ?THE ?(?:HOUSE|HOME)|REFUSED'
    '|[A-Z]|MASTER|MISS|MR|MRS|(?:ADULT ?)?(?:FE)?MALE|ADULT|BOY|GIRL|GENTLEMAN|ONE|TWO|THREE|FOUR'
    '|(?:ZZ)?TEST(?:ING)?(?: ?(?:PATIENT|CHILD|PUPIL|RECORD|USER|NAME|SURNAME|FORENAME))?');

CREATE OR REPLACE MACRO real_name(x) AS
    CASE WHEN NOT stands_for_no_name(x) AND NOT stands_for_no_name(replace(x, ' ', '')) THEN x END;

-- Particles before the first word do not count as a word.
CREATE OR REPLACE MACRO first_word(x) AS CASE WHEN contains(x, ' ') THEN
    nullif(regexp_extract(regexp_replace(x,
        '^(?:(?:AL|EL|DE|DEL|DELLA|DI|DA|DOS|DU|LA|LE|VAN|VON|DER|DEN|TER'
        '|BIN|IBN|BEN|BINT|UL|UR|ABU|MC|MAC|ST|SAINT) )+',
        ''), '^([^ ]{2,}) ', 1), '')
    END;
CREATE OR REPLACE MACRO last_word(x) AS
    CASE WHEN contains(x, ' ') THEN nullif(regexp_extract(x, ' ([^ ]{2,})$', 1), '') END;

-- A name in no list gets the rarest band. A name in other letters than A to Z gets a middle band, because the lists
-- have no such names and some of them are common.
CREATE OR REPLACE MACRO name_band(x, listed) AS CASE WHEN x IS NOT NULL THEN
    coalesce(listed, CASE WHEN regexp_full_match(x, '[A-Z]+') THEN rarest_band() ELSE 3 END)::UTINYINT
    END;

-- A name of five or more letters without its last or first two. A shorter name is kept whole and marked with a dot,
-- because a missing value would reveal that the name is short.
CREATE OR REPLACE MACRO front(x) AS CASE WHEN length(x) >= 5 THEN left(x, -2) ELSE x || '.' END;
CREATE OR REPLACE MACRO rest(x) AS CASE WHEN length(x) >= 5 THEN substr(x, 3) ELSE '.' || x END;

-- The classes of American Soundex (US National Archives) for the first letter too, and one digit more: of 1,194 pairs of
-- spellings in names/given_names.txt, 75% have one code instead of 70% (Callum and Kallum, Omar and Umer). H and W do not
-- separate equal codes, vowels do. An initial W is V, as transliterations have it; an initial vowel, Y or H is 0.
CREATE OR REPLACE MACRO sound_code(x) AS CASE WHEN regexp_full_match(x, '[A-Z]+') THEN
    translate(left(x, 1), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '01230120022455012623011202') || left(replace(substr(
        regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
            replace(left(x, 1), 'W', 'V') || replace(replace(substr(x, 2), 'H', ''), 'W', ''),
            '[BFPV]+', '1', 'g'),
            '[CGJKQSXZ]+', '2', 'g'),
            '[DT]+', '3', 'g'),
            '[L]+', '4', 'g'),
            '[MN]+', '5', 'g'),
            '[R]+', '6', 'g'),
            '[AEIOUYHW]+', '0', 'g'),
        2), '0', '') || '0000', 4)
    END;

CREATE OR REPLACE MACRO ends_in_letter(x) AS ascii(right(x, 1)) >= 58;
CREATE OR REPLACE MACRO compact_code(x) AS upper(regexp_replace(x, '[\s-]', '', 'g'));

-- Department for Education, UPN guide: weights 2 to 13, modulus 23; the alphabet has no I, O, S.
CREATE OR REPLACE MACRO upn_sum_fits(x) AS
    substr('ABCDEFGHJKLMNPQRTUVWXYZ', 1 + (
        2 * (ascii(substr(x, 2, 1)) - 48) + 3 * (ascii(substr(x, 3, 1)) - 48) + 4 * (ascii(substr(x, 4, 1)) - 48)
        + 5 * (ascii(substr(x, 5, 1)) - 48) + 6 * (ascii(substr(x, 6, 1)) - 48) + 7 * (ascii(substr(x, 7, 1)) - 48)
        + 8 * (ascii(substr(x, 8, 1)) - 48) + 9 * (ascii(substr(x, 9, 1)) - 48) + 10 * (ascii(substr(x, 10, 1)) - 48)
        + 11 * (ascii(substr(x, 11, 1)) - 48) + 12 * (ascii(substr(x, 12, 1)) - 48)
        + 13 * (CASE WHEN ends_in_letter(x) THEN instr('ABCDEFGHJKLMNPQRTUVWXYZ', right(x, 1)) - 1
                     ELSE ascii(right(x, 1)) - 48 END)
    ) % 23, 1) = left(x, 1);
CREATE OR REPLACE MACRO has_upn_form(x) AS
    regexp_full_match(x, '[ABCDEFGHJKLMNPQRTUVWXYZ][0-9]{11}[0-9ABCDEFGHJKLMNPQRTUVWXYZ]');
CREATE OR REPLACE MACRO upn_of_form(x) AS CASE WHEN has_upn_form(x) THEN x END;
CREATE OR REPLACE MACRO upn_code(x) AS CASE WHEN has_upn_form(x) THEN x ELSE upn_of_form(compact_code(x)) END;
CREATE OR REPLACE MACRO upn_checks(x) AS CASE WHEN has_upn_form(x) THEN upn_sum_fits(x) ELSE x IS NULL AND NULL END;

-- The plain form is tried first: nearly every number has it, and a macro evaluates its argument each time it is used.
CREATE OR REPLACE MACRO upn_valid(x) AS
    CASE WHEN has_upn_form(x) THEN upn_sum_fits(x) ELSE upn_checks(compact_code(x)) END;
CREATE OR REPLACE MACRO upn_permanent(x) AS upn_valid(x) AND NOT ends_in_letter(compact_code(x));

-- NHS Data Dictionary, NHS NUMBER: weights 10 to 2, modulus 11, 11 counts as 0 and 10 is not a check digit.
CREATE OR REPLACE MACRO nhs_sum_fits(x) AS
    (11 - (
        10 * (ascii(substr(x, 1, 1)) - 48) + 9 * (ascii(substr(x, 2, 1)) - 48) + 8 * (ascii(substr(x, 3, 1)) - 48)
        + 7 * (ascii(substr(x, 4, 1)) - 48) + 6 * (ascii(substr(x, 5, 1)) - 48) + 5 * (ascii(substr(x, 6, 1)) - 48)
        + 4 * (ascii(substr(x, 7, 1)) - 48) + 3 * (ascii(substr(x, 8, 1)) - 48) + 2 * (ascii(substr(x, 9, 1)) - 48)
    ) % 11) % 11 = ascii(right(x, 1)) - 48
    AND x <> repeat(left(x, 1), 10);
CREATE OR REPLACE MACRO has_nhs_form(x) AS regexp_full_match(x, '[0-9]{10}');
CREATE OR REPLACE MACRO nhs_of_form(x) AS CASE WHEN has_nhs_form(x) THEN x END;
CREATE OR REPLACE MACRO nhs_code(x) AS CASE WHEN has_nhs_form(x) THEN x ELSE nhs_of_form(compact_code(x)) END;
CREATE OR REPLACE MACRO nhs_checks(x) AS CASE WHEN has_nhs_form(x) THEN nhs_sum_fits(x) ELSE x IS NULL AND NULL END;
CREATE OR REPLACE MACRO nhs_valid(x) AS
    CASE WHEN has_nhs_form(x) THEN nhs_sum_fits(x) ELSE nhs_checks(compact_code(x)) END;

CREATE OR REPLACE MACRO letters_and_digits(x) AS
    CASE WHEN regexp_full_match(x, '[A-Z0-9]+ [A-Z0-9]+') THEN replace(x, ' ', '')
         ELSE regexp_replace(upper(x), '[^A-Z0-9]', '', 'g') END;

-- The letter O in place of the digit of the inward part is the only confusion that can be corrected for certain.
CREATE OR REPLACE MACRO inward_digit(x) AS
    CASE WHEN regexp_full_match(x, '[A-Z]{1,2}[0-9][A-Z0-9]?O[A-Z]{2}')
         THEN left(x, length(x) - 3) || '0' || right(x, 2) ELSE x END;
CREATE OR REPLACE MACRO real_postcode(x) AS
    CASE WHEN NOT starts_with(x, 'ZZ99') AND regexp_matches(x, '[0-9]') AND NOT regexp_full_match(x, '0+|9+')
         THEN inward_digit(x) END;
CREATE OR REPLACE MACRO outward_alone(x) AS
    CASE WHEN length(x) > 4 THEN false ELSE regexp_full_match(x, '[A-Z]{1,2}[0-9][A-Z0-9]?') END;
CREATE OR REPLACE MACRO full_postcode(x) AS regexp_full_match(x, '[A-Z]{1,2}[0-9][A-Z0-9]?[0-9][A-Z]{2}');

-- Dates up to and including 2000-01-01 are placeholders in records about children under ten.
CREATE OR REPLACE MACRO birth_date(x) AS CASE WHEN x BETWEEN DATE '2000-01-02' AND DATE '2099-12-31' THEN x END;
CREATE OR REPLACE MACRO sorted_date(x) AS
    (year(x) * 10000 + least(month(x), day(x)) * 100 + greatest(month(x), day(x)))::VARCHAR;
