@echo off
rem Installs the tool from this folder only, without the network. Usage: install.cmd [FOLDER]
setlocal
set "HERE=%~dp0"
call :install "%~1"
set "STATUS=%ERRORLEVEL%"
if "%~1"=="" pause
exit /b %STATUS%

:install
set "FOLDER=%~1"
if "%FOLDER%"=="" set "FOLDER=%LOCALAPPDATA%\readiness"
py -@PYTHON@ --version >nul 2>&1
if errorlevel 1 (
  echo Python @PYTHON@ for Windows, 64-bit, is not installed. Ask for it, and run this again.
  exit /b 1
)
py -@PYTHON@ -m venv "%FOLDER%"
if errorlevel 1 (
  echo The folder "%FOLDER%" cannot be used. Name another: install.cmd "D:\tools\readiness"
  exit /b 1
)
"%FOLDER%\Scripts\python.exe" -m pip install --quiet --disable-pip-version-check --no-index --find-links "%HERE%wheels" --require-hashes --requirement "%HERE%requirements.txt"
if errorlevel 1 (
  echo A file of this folder is missing or not as it was sent. Unpack the archive again, or ask for another.
  exit /b 1
)
echo Installed. Run it in a command prompt: "%FOLDER%\Scripts\readiness.exe" --help
exit /b 0
